//! The built `cutover` binary against a scripted server.
