package ping

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	pass = 1 << 16
	drop = 0
)

// filter lets through replies with an identifier, and errors.
func filter(six bool, id uint16) []bpf.Instruction {
	reply, errors := uint32(ipv4.ICMPTypeEchoReply), []uint32{
		uint32(ipv4.ICMPTypeDestinationUnreachable), uint32(ipv4.ICMPTypeTimeExceeded), uint32(ipv4.ICMPTypeParameterProblem),
	}
	if six {
		reply, errors = uint32(ipv6.ICMPTypeEchoReply), []uint32{
			uint32(ipv6.ICMPTypeDestinationUnreachable), uint32(ipv6.ICMPTypeTimeExceeded), uint32(ipv6.ICMPTypeParameterProblem),
		}
	}
	program := []bpf.Instruction{
		// Where the ICMP message begins: after the header of IPv4; a socket of IPv6 has none.
		bpf.LoadMemShift{Off: 0},
	}
	if six {
		program[0] = bpf.LoadConstant{Dst: bpf.RegX, Val: 0}
	}
	return append(program,
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: reply, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: errors[0], SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: errors[1], SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: errors[2], SkipTrue: 3},
		bpf.RetConstant{Val: drop},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(id), SkipFalse: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: drop},
	)
}

func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("make a filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fmt.Errorf("attach a filter: %w", err)
	}
	return nil
}
