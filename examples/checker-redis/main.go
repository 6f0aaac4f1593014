// Command checker-redis is a poise plugin: a real server is up when its Redis (or Valkey,
// or what else speaks RESP) answers PING.
package main

import "github.com/poise-lb/poise/sdk"

func main() {
	sdk.Serve(sdk.Plugin{Name: "redis", Version: "1.0.0", Checkers: map[string]sdk.Checker{"redis": checker{}}})
}
