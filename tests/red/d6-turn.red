guard: an inspection of before is thrown away
file: src/docker/roll.rs
test: lib d6_an_inspection_on_its_way_does_not_bring_the_dead_back
--- old
        if entry.turn != turn {
--- new
        if false {
--- end
