package configfile

// faultHook is called with the name of each place between two system calls of a
// write, where tests set it: to write as somebody else would, or to die.
var faultHook func(point string)

func fault(point string) {
	if faultHook != nil {
		faultHook(point)
	}
}
