# A production server. Check it with `vaultd check-config`; every key is explained by
# `vaultd default-config`.

storage "sled" {
  path = "/var/lib/vaultd/data"
}

# On another disk than the store: an older copy of the store is then noticed even if the whole
# data disk is put back.
state_dir = "/var/lib/vaultd-state"

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/vaultd/tls/cert.pem"
  tls_key_file  = "/etc/vaultd/tls/key.pem"
}

# The operator's door: works when TLS or the network does not.
listener "unix" {
  address = "/run/vaultd/vaultd.sock"
}

gateway {
  address       = "0.0.0.0:8443"
  tls_cert_file = "/etc/vaultd/tls/cert.pem"
  tls_key_file  = "/etc/vaultd/tls/key.pem"
}

audit_dirs = ["/var/log/vaultd"]
audit "file" "file" {
  description = "the trail of record"
  options = {
    file_path = "/var/log/vaultd/audit.log"
  }
}

default_lease_ttl = "24h"
max_lease_ttl     = "768h"
cluster_name      = "production"
memory_lock       = "auto"
