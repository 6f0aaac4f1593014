// Package daemon puts poised together: it loads the configuration, runs engine,
// plugin processes and control, wires what one says to who has to hear it, and takes
// signals. Nothing is decided here but what processes are needed and in which order
// they start and stop.
package daemon
