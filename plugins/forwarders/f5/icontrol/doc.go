// Package icontrol is a client for the part of a BIG-IP's iControl REST that a forwarder
// needs: objects, transactions, and the state of the device and its pair. It knows nothing
// of virtual servers and pools.
//
// What it takes care of, because real devices ask for it:
//
//   - One token per client, however many goroutines use it: gained in a single flight, its
//     end reckoned from the device's own stamps and the local monotonic clock, renewed
//     before it ends, deleted by Close. A token that was replaced is deleted too: a user
//     may have 100, and devices leak them.
//   - A 401 is not always about credentials. It makes one new login and one repetition;
//     what is refused after that is transient. Credentials are never given up.
//   - Answers are JSON or HTML, and a 404 may mean that the device is still starting.
//     [Error] keeps what was said, and errors.Is with [ErrNotFound], [ErrConflict],
//     [ErrInUse], [ErrTransient] and the others says what to do about it.
//   - Transient failures are repeated with back-off, a few times and never beyond the
//     context. What may have been carried out is repeated only when carrying it out twice
//     is the same as once; otherwise the error is [ErrUnknownOutcome], and the caller
//     reads again.
//   - At most two connections, which are kept: the device's management plane breaks under
//     bursts.
//
// There is no PUT: what it does to fields that are left out is not known.
//
// No error, log or printed value contains the password or a token.
package icontrol
