"""Code that two services need, or that is part of the state machine of a job."""
