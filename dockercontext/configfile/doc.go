// Package configfile edits the stored currentContext of a docker configuration file.
package configfile
