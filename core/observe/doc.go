// Package observe shows the daemon to Prometheus. It is a reader: every number is taken
// from the snapshot and the statuses at the moment of a scrape, and none is kept here,
// so that metrics and `poise status` never disagree.
package observe
