//! Integration tests: see it/.
