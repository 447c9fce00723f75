"""The Kubernetes side: a port and its implementation over ``kubernetes.aio``."""
