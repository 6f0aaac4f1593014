package ssl

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/youmark/pkcs8"
)

// lookAgain is how often files are looked at for a change.
const lookAgain = 10 * time.Second

// files are what a check reads from files. A file that changes is read again; while the
// new ones cannot be used, what was read before is.
type files struct {
	ca, certificate, key, password string

	roots *x509.CertPool
	pair  *tls.Certificate
	// stamps say which files were read, and looked when they were last looked at.
	stamps string
	looked time.Time
}

// read reads all of them; on an error, a *fileError, nothing has changed.
func (f *files) read() error {
	stamps := f.stamp()
	var roots *x509.CertPool
	var pair *tls.Certificate
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return &fileError{"/ca", fmt.Errorf("read the authorities: %w", err)}
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return &fileError{"/ca", fmt.Errorf("no certificate in PEM in %s", f.ca)}
		}
	}
	if f.certificate != "" {
		var err error
		if pair, err = f.readPair(); err != nil {
			return err
		}
	}
	f.roots, f.pair, f.stamps = roots, pair, stamps
	return nil
}

func (f *files) readPair() (*tls.Certificate, error) {
	certificate, err := os.ReadFile(f.certificate)
	if err != nil {
		return nil, &fileError{"/certificate", fmt.Errorf("read the client certificate: %w", err)}
	}
	key, keyFile, keyPath := certificate, f.certificate, "/certificate"
	if f.key != "" {
		keyFile, keyPath = f.key, "/key"
		if key, err = os.ReadFile(f.key); err != nil {
			return nil, &fileError{keyPath, fmt.Errorf("read the key: %w", err)}
		}
	}
	var password []byte
	if f.password != "" {
		text, err := os.ReadFile(f.password)
		if err != nil {
			return nil, &fileError{"/key_password_file", fmt.Errorf("read the key's password: %w", err)}
		}
		password, _, _ = bytes.Cut(text, []byte("\n"))
		password = bytes.TrimSuffix(password, []byte("\r"))
	}
	if key, err = decryptKey(key, password); err != nil {
		return nil, &fileError{keyPath, fmt.Errorf("key in %s: %w", keyFile, err)}
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, &fileError{"/certificate", fmt.Errorf("client certificate in %s, with its key: %w", f.certificate, err)}
	}
	return &pair, nil
}

// decryptKey gives a key's PEM without its encryption. What is not encrypted is given
// back as it is.
func decryptKey(text, password []byte) ([]byte, error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return text, nil
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			if password == nil {
				return nil, errors.New("is encrypted: set key_password_file")
			}
			key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, password)
			if err != nil {
				return nil, fmt.Errorf("cannot be decrypted, is the password right? %w", err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				return nil, err
			}
			return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
		case x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // weak, and what old keys have
			if password == nil {
				return nil, errors.New("is encrypted: set key_password_file")
			}
			der, err := x509.DecryptPEMBlock(block, password) //nolint:staticcheck // see above
			if err != nil {
				return nil, fmt.Errorf("cannot be decrypted, is the password right? %w", err)
			}
			return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
		}
	}
}

// stamp says which files these are, as far as their names, times and sizes do.
func (f *files) stamp() string {
	var out bytes.Buffer
	for _, name := range []string{f.ca, f.certificate, f.key, f.password} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&out, name, info.ModTime().UnixNano(), info.Size())
		} else {
			fmt.Fprintln(&out, name, "-")
		}
	}
	return out.String()
}

// refresh reads files that have changed. An error says why what was read before is
// still used.
func (f *files) refresh(now time.Time) error {
	if f.ca == "" && f.certificate == "" || now.Sub(f.looked) < lookAgain {
		return nil
	}
	f.looked = now
	if f.stamp() == f.stamps {
		return nil
	}
	return f.read()
}
