"""`python -m witness.bench`: what a real three-witness cluster on this machine does, beside etcd in the same run."""
