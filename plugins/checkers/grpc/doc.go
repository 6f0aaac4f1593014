// Package grpc is the gRPC checker: a target is up when its health service
// (grpc.health.v1) says that a service is SERVING.
//
// Each probe makes a connection of its own and gives it up: a connection that was kept
// would not notice a server that takes no new ones. The connection and TLS are made
// before gRPC gets it, so that there is one attempt, from where the target says, and an
// error has the step's name.
package grpc
