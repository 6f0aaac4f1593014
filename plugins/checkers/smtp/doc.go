// Package smtp is the SMTP checker: a target is up when it greets with 220, answers HELO
// with 250, and answers QUIT.
//
// The dialogue is that of keepalived 2.2.7, with its narrow view of a reply: one line,
// the code followed by a space or the end of the line, 511 bytes at most. What comes
// after the line in the same segment is thrown away. Replies of several lines are
// legal SMTP, but down, unless the parameters allow them.
package smtp
