package fault

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Page is what a healthy web server answers with, and its MD5.
const (
	Page    = "poise lab page\n"
	PageMD5 = "70234438b0139a072cc4684eeb383b69"
)

// dripped is how many bytes.
const dripped = 7

// web is an HTTP server that closes after its answer. Its steps:
//
//	slow:DURATION         the answer comes late
//	status:CODE           another status
//	host:NAME             404 for any other Host
//	only:PATH             the status is 500 for this path
//	body:TEXT             another body
//	redirect              to the same page, for ever
//	headers:KB            so many kilobytes of headers
//	big:MB                so many megabytes of body
//	drip:DURATION         some bytes of the body come one by one, after such pauses
//	driphead:DURATION     those of the status line do
//	empty                 the request is read, and nothing answered
//	early                 the answer comes before the request, and the end at once
//	short                 less body than announced
//	long                  more body than announced
//	nolength              no Content-Length
//	chunked               a chunked body
//	keep                  the connection stays open after a whole answer
//	noversion, nostatus   a status line without one
//	continue              100 Continue first
func web(conn *net.TCPConn, verb, arg string) {
	if verb == "early" {
		_, _ = io.WriteString(conn, response(200, Page))
		linger(conn)
		return
	}
	if serveWeb(conn, verb, arg) {
		linger(conn)
	} else {
		drain(conn)
	}
}

// serveWeb answers one request and says whether the connection ends then.
func serveWeb(conn io.ReadWriter, verb, arg string) bool {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return true
	}
	text := response(200, Page)
	switch verb {
	case "slow":
		time.Sleep(period(arg))
	case "status":
		text = response(number(arg, 500), Page)
	case "host":
		if request.Host != arg {
			text = response(404, Page)
		}
	case "only":
		if request.URL.Path == arg {
			text = response(500, Page)
		}
	case "body":
		text = response(200, arg)
	case "redirect":
		text = strings.Replace(response(302, ""), "\r\n", "\r\nLocation: "+request.URL.Path+"\r\n", 1)
	case "headers":
		var b strings.Builder
		for i := range number(arg, 1) {
			fmt.Fprintf(&b, "X-Filler-%d: %s\r\n", i, strings.Repeat("x", 1<<10))
		}
		text = strings.Replace(text, "\r\n", "\r\n"+b.String(), 1)
	case "big":
		flood(conn, number(arg, 1))
		return true
	case "drip", "driphead":
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		if verb == "drip" {
			_, _ = io.WriteString(conn, head+"\r\n\r\n")
			text = body
		}
		drip(conn, text[:dripped], period(arg))
		_, _ = io.WriteString(conn, text[dripped:])
		return true
	case "empty":
		return true
	case "short":
		text = strings.TrimSuffix(text, "page\n")
	case "long":
		text += "and more"
	case "nolength":
		text = "HTTP/1.0 200 OK\r\n\r\n" + Page
	case "chunked":
		text = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(Page), Page)
	case "noversion":
		text = strings.Replace(text, "HTTP/1.1 200 OK", "ICY 200 OK", 1)
	case "nostatus":
		text = strings.Replace(text, "HTTP/1.1 200 OK", "HTTP/1.1", 1)
	case "continue":
		text = "HTTP/1.1 100 Continue\r\n\r\n" + text
	case "keep":
		text = strings.Replace(text, "Connection: close\r\n", "", 1)
	}
	_, err = io.WriteString(conn, text)
	return err != nil || verb != "keep"
}

func response(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

func flood(w io.Writer, mb int) {
	_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", mb<<20)
	block := []byte(strings.Repeat("poise---", 8<<10))
	for range mb << 20 / len(block) {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}
