package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A member is a file of an archive.
type member struct {
	name string // below the archive's directory
	mode int64
	data []byte
}

// archive writes the target's archive: a zip for Windows, a tar.gz for others.
func (r *release) archive(t target) error {
	members, err := r.members(t)
	if err != nil {
		return err
	}
	suffix, write := ".tar.gz", r.writeTar
	if t.OS == "windows" {
		suffix, write = ".zip", r.writeZip
	}
	file, err := os.Create(filepath.Join(r.out, r.name(t)+suffix))
	if err != nil {
		return err
	}
	return errors.Join(write(file, r.name(t), members), file.Close())
}

// members returns the files of the target's archive, in order.
func (r *release) members(t target) ([]member, error) {
	files, err := r.extras()
	if err != nil {
		return nil, err
	}
	programs, err := filepath.Glob(filepath.Join(r.built(t), "*"))
	if err != nil {
		return nil, err
	}
	for _, path := range programs {
		files[filepath.Base(path)] = path
	}
	var members []member
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if filepath.Dir(files[name]) == r.built(t) {
			mode = 0o755
		}
		members = append(members, member{name, mode, data})
	}
	return members, nil
}

func (r *release) writeTar(w io.Writer, dir string, members []member) error {
	// gzip's header has no name and no time.
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, m := range members {
		header := &tar.Header{Name: dir + "/" + m.name, Mode: m.mode, Size: int64(len(m.data)), ModTime: r.Date, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(m.data); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

func (r *release) writeZip(w io.Writer, dir string, members []member) error {
	archive := zip.NewWriter(w)
	for _, m := range members {
		header := &zip.FileHeader{Name: dir + "/" + m.name, Method: zip.Deflate, Modified: r.Date}
		header.SetMode(os.FileMode(m.mode))
		file, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := file.Write(m.data); err != nil {
			return err
		}
	}
	return archive.Close()
}
