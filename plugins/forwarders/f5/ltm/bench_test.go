package ltm_test

import (
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
)

// BenchmarkFarm is what one change among 2,000 real servers costs here: the translation
// of the request, the partition as read, the difference.
func BenchmarkFarm(b *testing.B) {
	d, request := farmDevice(b), farm()
	actual := state(b, d)
	request[7].RealServers[3].Offline = true
	b.Run("Want", func(b *testing.B) {
		for b.Loop() {
			ltm.Want(request, options)
		}
	})
	b.Run("Diff", func(b *testing.B) {
		w := want(b, request...)
		for b.Loop() {
			if plan := ltm.Diff(actual, w); plan.Count() != 1 {
				b.Fatal(plan)
			}
		}
	})
	pools := d.body("pool")
	b.Run("Decode", func(b *testing.B) {
		b.SetBytes(int64(len(pools)))
		for b.Loop() {
			s := ltm.State{Partition: "P"}
			if err := s.Add(ltm.KindPool, pools); err != nil {
				b.Fatal(err)
			}
		}
	})
}
