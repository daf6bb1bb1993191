package containerd

const sigkill = 9

// signalOf returns SIGTERM: there are no engines of ours here.
func signalOf(string) int { return 15 }
