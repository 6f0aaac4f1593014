package ipvs

import (
	"fmt"
	"testing"

	cloudflare "github.com/cloudflare/ipvs"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/kernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// BenchmarkKernel adds and then removes n real servers of one virtual server: one call of
// the library each, against sends of many.
func BenchmarkKernel(b *testing.B) {
	lab(b)
	for _, n := range []int{1000, 10000} {
		want, _ := decodeRequest(request(service("rr", "192.0.2.100", 80, manyReals(n)...)))
		ops := table.Diff(*want, table.State{})
		b.Run(fmt.Sprintf("library/%d", n), func(b *testing.B) { benchLibrary(b, ops) })
		b.Run(fmt.Sprintf("batched/%d", n), func(b *testing.B) { benchBatched(b, ops) })
		b.Run(fmt.Sprintf("library read/%d", n), func(b *testing.B) { benchLibraryRead(b, ops) })
		b.Run(fmt.Sprintf("read/%d", n), func(b *testing.B) { benchRead(b, ops) })
		b.Run(fmt.Sprintf("diff/%d", n), func(b *testing.B) { benchDiff(b, *want) })
	}
}

func benchLibrary(b *testing.B, ops []table.Op) {
	client, err := cloudflare.New()
	if err != nil {
		b.Fatal(err)
	}
	svc := libraryService(ops[0].Service)
	for b.Loop() {
		if err := client.CreateService(svc); err != nil {
			b.Fatal(err)
		}
		for _, op := range ops[1:] {
			if err := client.CreateDestination(svc, libraryDestination(op.Destination)); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		if err := client.RemoveService(svc); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ops)), "µs/operation")
}

func benchBatched(b *testing.B, ops []table.Op) {
	k := openBench(b)
	for b.Loop() {
		runBench(b, k, ops)
		b.StopTimer()
		runBench(b, k, []table.Op{{Kind: table.RemoveService, Service: ops[0].Service}})
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ops)), "µs/operation")
}

func benchRead(b *testing.B, ops []table.Op) {
	k := openBench(b)
	runBench(b, k, ops)
	for b.Loop() {
		if _, err := k.Read(); err != nil {
			b.Fatal(err)
		}
	}
	runBench(b, k, []table.Op{{Kind: table.RemoveService, Service: ops[0].Service}})
}

func benchLibraryRead(b *testing.B, ops []table.Op) {
	k := openBench(b)
	runBench(b, k, ops)
	client, err := cloudflare.New()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if reals, err := client.Destinations(libraryService(ops[0].Service)); err != nil || len(reals) != len(ops)-1 {
			b.Fatal(len(reals), err)
		}
	}
	runBench(b, k, []table.Op{{Kind: table.RemoveService, Service: ops[0].Service}})
}

func benchDiff(b *testing.B, want table.Want) {
	for b.Loop() {
		if ops := table.Diff(want, table.State{Services: want.Services}); len(ops) > 0 {
			b.Fatal(ops)
		}
	}
}

func openBench(b *testing.B) *kernel.Kernel {
	k, err := kernel.Open()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { k.Close() })
	return k
}

func runBench(b *testing.B, k *kernel.Kernel, ops []table.Op) {
	for i, err := range k.Run(ops) {
		if err != nil {
			b.Fatalf("operation %d: %v", i, err)
		}
	}
}
