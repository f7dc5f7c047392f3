mod anchored;
mod bookkeeping;
mod commit;
mod crash;
mod ending;
mod keys;
mod list;
mod model;
