package f5

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	"github.com/poise-lb/poise/sdk"
)

// settings are the parameters of an instance: a BIG-IP, or a pair of them.
type settings struct {
	Addresses       []string     `json:"addresses" doc:"management addresses of the unit, or of both units of a pair: host or host:port; port 443 if none is said"`
	Partition       string       `json:"partition" doc:"partition that holds what poise makes; it has to exist and to be poise's own"`
	CredentialsFile string       `json:"credentials_file" doc:"file with two lines, the user and the password"`
	Username        string       `json:"username" doc:"user, with password_file or password_env"`
	UsernameEnv     string       `json:"username_env" doc:"environment variable of poised with the user"`
	PasswordFile    string       `json:"password_file" doc:"file with the password"`
	PasswordEnv     string       `json:"password_env" doc:"environment variable of poised with the password"`
	CA              string       `json:"ca" doc:"PEM file of who signs the units' certificates; the system's if empty"`
	ServerName      string       `json:"server_name" doc:"name in the units' certificates; the host of the address if empty"`
	DeviceGroup     string       `json:"device_group" doc:"sync-failover group of the pair; found on the unit if empty"`
	RequestTimeout  sdk.Duration `json:"request_timeout" doc:"time that one request may take"`
	CommitTimeout   sdk.Duration `json:"commit_timeout" doc:"time that the commit of a transaction may take"`
	SyncTimeout     sdk.Duration `json:"sync_timeout" doc:"time until a pair that is not in sync after a change is an alarm"`
	SaveInterval    sdk.Duration `json:"save_interval" doc:"least time between two writes of the configuration to the unit's disk"`
	DriftInterval   sdk.Duration `json:"drift_interval" doc:"time between two looks for what somebody else has changed"`
	StatsInterval   sdk.Duration `json:"stats_interval" doc:"time between two readings of counters"`
	RouteDomain     uint16       `json:"route_domain" doc:"route domain of all addresses"`
	Approximate     []string     `json:"approximate" doc:"near equivalents that are accepted for every virtual server"`
	Mark            string       `json:"mark" doc:"name by which poise knows its own objects again"`
	Instance        string       `json:"instance" doc:"value of the mark: two poise on one partition have to have two; both directors of a pair have the same"`
}

func defaults() settings {
	return settings{
		RequestTimeout: sdk.Duration(10 * time.Second), CommitTimeout: sdk.Duration(time.Minute), SyncTimeout: sdk.Duration(time.Minute),
		SaveInterval: sdk.Duration(time.Minute), DriftInterval: sdk.Duration(30 * time.Second), StatsInterval: sdk.Duration(10 * time.Second),
		Mark: "poise", Instance: "poise",
	}
}

var (
	validPartition = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	validMark      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
)

// parseSettings reads and checks parameters. It opens no file: see credentials.
func parseSettings(parameters json.RawMessage) (settings, []sdk.Problem) {
	s := defaults()
	if err := sdk.Decode(parameters, &s); err != nil {
		var at *sdk.ParameterError
		if errors.As(err, &at) {
			return s, []sdk.Problem{{Path: at.Path, Message: at.Message}}
		}
		return s, []sdk.Problem{{Message: err.Error()}}
	}
	var out []sdk.Problem
	bad := func(path, format string, args ...any) {
		out = append(out, sdk.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if n := len(s.Addresses); n < 1 || n > 2 {
		bad("/addresses", "%d addresses: name the management address of the unit, or of both units of a pair", n)
	}
	for i, a := range s.Addresses {
		if host, _, err := net.SplitHostPort(a); err == nil && host == "" || a == "" || strings.ContainsAny(a, "/ @") {
			bad(fmt.Sprintf("/addresses/%d", i), "%q is no host or host:port", a)
		} else if slices.Index(s.Addresses, a) < i {
			bad(fmt.Sprintf("/addresses/%d", i), "%s is there twice: the units of a pair have two management addresses", a)
		}
	}
	switch {
	case s.Partition == "":
		bad("", "partition is missing: name a partition that is poise's own")
	case s.Partition == "Common":
		bad("/partition", "partition Common is everybody's: make one that is poise's own (tmsh create auth partition poise)")
	case !validPartition.MatchString(s.Partition):
		bad("/partition", "%q cannot be the name of a partition", s.Partition)
	}
	for i, a := range s.Approximate {
		if !ltm.KnownApproximation(a) {
			bad(fmt.Sprintf("/approximate/%d", i), "%q is none of the near equivalents: %s", a, strings.Join(ltm.Approximations, ", "))
		}
	}
	if !validMark.MatchString(s.Mark) {
		bad("/mark", "%q is no name: letters, digits, - and _", s.Mark)
	}
	if !validMark.MatchString(s.Instance) {
		bad("/instance", "%q is no name: letters, digits, - and _", s.Instance)
	}
	out = append(out, s.credentialProblems()...)
	for _, d := range []struct {
		name  string
		value sdk.Duration
		least time.Duration
	}{
		{"request_timeout", s.RequestTimeout, 100 * time.Millisecond}, {"commit_timeout", s.CommitTimeout, 100 * time.Millisecond},
		{"sync_timeout", s.SyncTimeout, time.Second}, {"save_interval", s.SaveInterval, time.Millisecond},
		{"drift_interval", s.DriftInterval, 100 * time.Millisecond}, {"stats_interval", s.StatsInterval, 100 * time.Millisecond},
	} {
		if v := time.Duration(d.value); v < d.least || v > 24*time.Hour {
			bad("/"+d.name, "%s %s: must be %s to 24h", d.name, v, d.least)
		}
	}
	return s, out
}

// credentialProblems finds ways to the user and the password that are missing or double.
func (s *settings) credentialProblems() (out []sdk.Problem) {
	const ways = "write credentials_file, or username or username_env with password_file or password_env"
	given := func(values ...string) (n int) {
		for _, v := range values {
			if v != "" {
				n++
			}
		}
		return n
	}
	users, passwords := given(s.Username, s.UsernameEnv), given(s.PasswordFile, s.PasswordEnv)
	switch {
	case s.CredentialsFile != "" && users+passwords > 0:
		out = append(out, sdk.Problem{Path: "/credentials_file", Message: "credentials_file has the user and the password: leave out username, username_env, password_file and password_env"})
	case s.CredentialsFile != "":
	case users == 0 || passwords == 0:
		out = append(out, sdk.Problem{Message: "there are no credentials: " + ways})
	case users > 1 || passwords > 1:
		out = append(out, sdk.Problem{Message: "the user or the password is said in two ways: " + ways})
	}
	return out
}

// maxSecretFile bounds a file with credentials: a longer one is something else.
const maxSecretFile = 4 << 10

// credentials reads the user and the password, now.
func (s *settings) credentials() (user string, password icontrol.Secret, err error) {
	if s.CredentialsFile != "" {
		text, err := readSecret(s.CredentialsFile)
		if err != nil {
			return "", "", err
		}
		user, secret, ok := strings.Cut(text, "\n")
		user, secret = strings.TrimRight(user, "\r"), strings.TrimRight(secret, "\r\n")
		if !ok || user == "" || secret == "" || strings.Contains(secret, "\n") {
			return "", "", fmt.Errorf("credentials_file %s has not two lines, the user and the password", s.CredentialsFile)
		}
		return user, icontrol.Secret(secret), nil
	}
	user = s.Username
	if s.UsernameEnv != "" {
		if user = os.Getenv(s.UsernameEnv); user == "" {
			return "", "", fmt.Errorf("the environment variable %s is not set: set it for poised", s.UsernameEnv)
		}
	}
	if s.PasswordEnv != "" {
		secret := os.Getenv(s.PasswordEnv)
		if secret == "" {
			return "", "", fmt.Errorf("the environment variable %s is not set: set it for poised", s.PasswordEnv)
		}
		return user, icontrol.Secret(secret), nil
	}
	text, err := readSecret(s.PasswordFile)
	if err != nil {
		return "", "", err
	}
	secret := strings.TrimRight(text, "\r\n")
	if secret == "" || strings.Contains(secret, "\n") {
		return "", "", fmt.Errorf("password_file %s has not one line, the password", s.PasswordFile)
	}
	return user, icontrol.Secret(secret), nil
}

// fileProblems warns of files that are not as they have to be. They may be made later, or be on
// another machine, and who only checks a configuration may not be allowed to read them.
func (s *settings) fileProblems() (out []sdk.Problem) {
	for _, x := range []struct {
		key, path string
		secret    bool
		read      func() error
	}{
		{"credentials_file", s.CredentialsFile, true, func() error { _, _, err := s.credentials(); return err }},
		{"password_file", s.PasswordFile, true, func() error { _, err := readSecret(s.PasswordFile); return err }},
		{"ca", s.CA, false, func() error { _, err := s.roots(); return err }},
	} {
		if x.path == "" {
			continue
		}
		if err := x.read(); err != nil && !errors.Is(err, fs.ErrPermission) {
			out = append(out, sdk.Problem{Path: "/" + x.key, Message: err.Error(), Warning: true})
			continue
		}
		if info, err := os.Stat(x.path); x.secret && err == nil && info.Mode().Perm()&0o007 != 0 {
			out = append(out, sdk.Problem{Path: "/" + x.key, Message: fmt.Sprintf("everybody on this machine can get at %s: chmod 600 it", x.path), Warning: true})
		}
	}
	return out
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the credentials: %w", err)
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("read the credentials: %s has more than %d bytes", path, maxSecretFile)
	}
	return string(text), nil
}

// roots are who signs the units' certificates; nil: the system's.
func (s *settings) roots() (*x509.CertPool, error) {
	if s.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, fmt.Errorf("read ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca %s has no certificate in PEM", s.CA)
	}
	return pool, nil
}

// options are those of the mapping; the partition's own route domain is the unit's to say.
func (s *settings) options() ltm.Options {
	return ltm.Options{
		Partition: s.Partition, Owner: ltm.Owner{Mark: s.Mark, Instance: s.Instance},
		RouteDomain: int(s.RouteDomain), Approximate: s.Approximate,
	}
}
