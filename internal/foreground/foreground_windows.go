package foreground

import "os"

// forwarded are the signals that are caught. The console sends them to the command too.
var forwarded = []os.Signal{os.Interrupt}

func exitStatus(s *os.ProcessState) int { return s.ExitCode() }

func fromTerminal(os.Signal) bool { return true }
