// Package simulation plays regions against chance: the pure decisions of packages failover, mandate and duty run on simulated clocks that drift and jump, a network that delays,
// loses, doubles and cuts, processes that are killed and stopped, an etcd that changes its leader and loses its quorum, and databases with histories of their own. After each
// step it is looked at what must never be. Everything follows from the seed, so that the seed of a failure plays it again. It consists of tests only.
package simulation
