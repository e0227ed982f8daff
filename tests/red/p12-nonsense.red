guard: a setting of nonsense costs a container its routes
file: src/discovery/read.rs
test: lib p12_nonsense_harms_only_its_own_container
--- old
if self.counts(setting)
                && let Some(fault)
--- new
if false
                && let Some(fault)
--- end
