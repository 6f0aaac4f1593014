// Package e2e holds the scenarios of the lab: what poise has to show on a real kernel,
// with real directors, real servers and clients, next to keepalived. See package lab
// for the network and package uml for the kernel.
//
//	go test ./e2e                          all scenarios, one machine at a time (POISE_E2E_MACHINES)
//	go test -run Table -v ./e2e            one of them, and what it says
//	POISE_SOAK=1 go test -run Soak ./e2e   what takes longer
package e2e
