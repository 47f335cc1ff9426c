package proxy

import (
	"fmt"
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"
)

// maxProfile bounds a CPU profile, whose writing has to end before the admin server's write timeout.
const maxProfile = 50 * time.Second

// addProfiling adds profiles for the pod itself. It is a few lines of its own because importing net/http/pprof would
// register its handlers everywhere and keep what a proxy never uses.
func addProfiling(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", localOnly(cpuProfile))
	mux.HandleFunc("GET /debug/pprof/profile.pb.gz", localOnly(cpuProfile))
	for _, name := range []string{"heap", "allocs", "goroutine"} {
		mux.HandleFunc("GET /debug/pprof/"+name, localOnly(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			if err := pprof.Lookup(name).WriteTo(w, 0); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}))
	}
}

func cpuProfile(w http.ResponseWriter, r *http.Request) {
	seconds := 10
	if s := r.FormValue("seconds"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || time.Duration(n)*time.Second > maxProfile {
			http.Error(w, fmt.Sprintf("seconds: want 1 to %d", int(maxProfile.Seconds())), http.StatusBadRequest)
			return
		}
		seconds = n
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := pprof.StartCPUProfile(w); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	wait(r.Context(), time.Duration(seconds)*time.Second)
	pprof.StopCPUProfile()
}
