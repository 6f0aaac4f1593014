// Package examples builds the examples of third parties' checkers as an outsider would,
// and has poised use them against real servers: redis-server and mariadb-server of Debian.
// It also follows docs/plugins.md, command by command.
package examples
