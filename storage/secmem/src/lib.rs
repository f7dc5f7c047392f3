//! secmem
