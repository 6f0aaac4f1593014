// Package version holds the one version that all executables of a build share.
package version

// Version is set by the build: -ldflags "-X github.com/poise-lb/poise/internal/version.Version=1.2.3".
var Version = "dev"
