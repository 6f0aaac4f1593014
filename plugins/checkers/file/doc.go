// Package file is the checker of a number in a file, which is watched: a real server is
// down, or its weight changes, the moment that somebody writes the file.
//
// One inotify instance serves all checks of the process, for a user may have only few of
// them (fs.inotify.max_user_instances). It watches directories, not files: every directory
// on the path, with those behind symbolic links, for the name that the path continues
// with. So a file that is replaced, a link that is turned, a directory that comes and goes
// are seen alike.
//
// Sharp edges: a file is read when its writer closes it; who keeps it open is heard late,
// when it is read anyway every few seconds. So are changes that the kernel does not tell:
// those of another machine on a network file system.
package file
