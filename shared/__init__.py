"""What two services need, or what is part of the state machine of a job."""
