mod commit;
mod crash;
mod keys;
mod list;
mod model;
