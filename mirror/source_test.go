package mirror_test

import (
	"testing"

	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestFirstSync(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(50, 10, 10, 3)
	r.start()
	s := r.await("MirrorSynced", synced)
	if s.Engine.ID != "fake-engine" || s.Engine.APIVersion == "" || !s.Mirror.Connected || s.Mirror.SyncedAt.IsZero() {
		t.Errorf("engine %+v, mirror %+v", s.Engine, s.Mirror)
	}
	if len(s.Containers) != 50 || len(s.Images) != 10 || len(s.Volumes) != 10 || len(s.Networks) != 3 {
		t.Errorf("got %d containers, %d images, %d volumes, %d networks", len(s.Containers), len(s.Images), len(s.Volumes), len(s.Networks))
	}
	if _, ok := s.Namespaces["moby"]; !ok {
		t.Error("no namespace moby")
	}
	r.awaitEqual()
}

func TestEvents(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(3, 2, 2, 1)
	r.start()
	r.await("MirrorSynced", synced)

	id := r.engine.CreateContainer("new", "image0:latest", "volume0")
	r.engine.StartContainer(id)
	r.await("the new container running", func(s *state.State) bool { return s.Containers[id].State == state.StateRunning })
	r.engine.ExitContainer(id, 3)
	s := r.await("it exited", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	if c := s.Containers[id]; c.ExitCode != 3 || c.FinishedAt.IsZero() || c.PID != 0 {
		t.Errorf("exited container is %+v", c)
	}
	r.engine.RemoveContainer(id)
	r.await("it gone", func(s *state.State) bool { _, ok := s.Containers[id]; return !ok })

	img := r.engine.IDs("images")
	r.engine.TagImage(img[1], "image0:latest") // moves: no event of the image it was on
	r.await("the tag moved", func(s *state.State) bool {
		return len(s.Images[img[0]].RepoTags) == 0 && len(s.Images[img[1]].RepoTags) == 2
	})
	r.engine.CreateVolume("v")
	r.engine.RemoveVolume("volume1")
	n := r.engine.CreateNetwork("a name/with everything ünder \"the sun\"")
	r.await("volumes and network", func(s *state.State) bool {
		_, old := s.Volumes["volume1"]
		return s.Volumes["v"].Name == "v" && !old && s.Networks[n].ID == n
	})
	r.awaitEqual()
}
