package lima

import "syscall"

var detached *syscall.SysProcAttr // there is no limactl here
