// Package configfile edits one key of a docker configuration file, currentContext,
// and promises that nothing else in it is ever changed or lost.
//
// # Bytes
//
// The file is edited as bytes. Only the value of the one key changes, or the key is
// added or taken away; unknown keys, their order, indentation, line ends, escapes, mode,
// owner, extended attributes and symbolic links stay. What counts as the key is what
// encoding/json, and with it docker, decodes as such: case does not matter, and of
// several the last one wins. Where the key was not there, setting and unsetting it gives
// the very same bytes again, but for a file without an object, which keeps an empty
// one; where it was there and said that none is set, a [Value] remembers how. A file
// that docker itself can't load is not edited, nor is one that could not be replaced as
// it is: see [RefusedError].
//
// # Other writers
//
// Docker's own writers take no lock: they load the file, change it, and rename a new
// one over it. So a write of theirs can come at any moment.
//
// On Linux, where the file system has leases and RENAME_EXCHANGE (ext4, xfs, btrfs,
// tmpfs), none of their writes is lost. The new file is prepared, synced and leased, so
// that whoever opens it has to wait. It is exchanged with the one in place, and what
// comes out is compared with what the edit was based on. If somebody has written in
// between, the edit is made again on that and exchanged again, until what comes out
// is our own last file. As they all are leased, nobody can build on one that lacks
// somebody's write; and before the leases end, the superseded ones get the final
// content too, for those who had already resolved the path to one.
//
// A program that writes into the file in place is waited for, up to a second, while
// it has the file open.
//
// # Kills
//
// Before an exchange, a record beside the file says what is about to happen. If the
// process is killed, the next one finds it, and puts back what was displaced by
// mistake: see [Recover].
//
// # What remains possible
//
//   - Without leases (macOS, Windows, most network file systems, fs.leases-enable=0): a
//     file that displaced somebody's write is in place for some microseconds before it is
//     swapped back. Who loads the file in these and saves it later loses that write.
//   - Without exchange (NFS, some FUSE file systems, BSD): the file is compared right
//     before a rename. A write between these two is lost.
//   - On Windows the exchange is ReplaceFile and a rename; for the time between the two the
//     displaced file has a name of its own, from which [Recover] fetches it. A
//     program that has the file open without sharing it is waited for, up to a second;
//     then the change fails. While the file is read here, for microseconds, docker's own
//     rename fails, as it does beside any docker command.
//   - On macOS access control lists are not kept.
//   - A program that writes in place, which docker never does, may open the file in the moment
//     before an exchange, or while we wait on another program's write, and then writes into
//     a file that has been superseded. One that is just opening it can't be seen.
//   - After a kill within the microseconds between exchange and verification, while
//     somebody writes, a third write may come on top before a command of ours does. If
//     it lacks something that the displaced one has, that is not merged but kept beside
//     the file: see [Rescued].
//   - Docker itself undoes what came between its load and its save. A `docker login` that
//     waits for a password saves what it loaded at its start, currentContext with it. No
//     other program can keep it from that.
//
// `make stress-config` counts what is lost, with and without leases.
package configfile
