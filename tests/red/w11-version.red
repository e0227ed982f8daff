guard: a sid of one version is worth nothing in the other
file: src/socket/engineio.rs
test: lib w11_a_sid_of_one_version_is_worth_nothing_in_the_other
test: lib w12_a_sid_of_version_3_is_not_taken_for_one_of_version_4
--- old
            Self::Three => Kind::SidThree,
--- new
            Self::Three => Kind::Sid,
--- end
