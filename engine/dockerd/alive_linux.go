package dockerd

// Alive tells whether the engine that the record names runs. It is cheap and changes
// nothing. An engine whose record is lost is found by Adopt.
func Alive(cfg Config) bool { return cfg.readRecord().Engine.Alive() }
