"""Which answers of Redis are about the server, so that the caller must try again, and which are our fault."""

import pytest
from redis import Redis, exceptions
from redis._parsers.base import BaseParser

from storage.availability import as_unavailable, explain, is_unavailable, is_wrong_type
from storage.errors import RedisAwayError

ABOUT_THE_SERVER = [
    "NOSCRIPT No matching script. Please use EVAL.",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "READONLY You can't write against a read only replica.",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS Not enough good replicas to write.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN Hash slot not served",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM User service has no permissions to run the 'xadd' command",
    "EXECABORT Transaction discarded because of previous errors.",
    "ERR max number of clients reached",
    "ERR unknown command 'EVALSHA', with args beginning with: ",
    "ERR ACL failure in script: User service has no permissions to run the 'xadd' command",
    "ERR Error running script (call to f_1a): @user_script:12: -OOM command not allowed when memory > 'maxmemory'.",
    "SOMETHINGNEW that no one has met yet",
]
OUR_FAULT = [
    "ERR wrong number of arguments for 'get' command",
    "ERR value is not an integer or out of range",
    "ERR user_script:3: Script attempted to access nonexistent global variable 'x'",
    "ERR Error running script (call to f_1a): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "BUSYGROUP Consumer Group name already exists",
]


@pytest.mark.parametrize("answer", ABOUT_THE_SERVER)
def test_an_answer_about_the_server_is_no_fault_of_a_job(answer: str) -> None:
    """On 15a4f66 half of them ended jobs as `internal`, and were 500."""
    error = BaseParser.parse_error(answer)
    assert is_unavailable(error) and as_unavailable(error) is not None


@pytest.mark.parametrize("answer", OUR_FAULT)
def test_an_answer_about_a_command_is_a_fault_of_ours(answer: str) -> None:
    error = BaseParser.parse_error(answer)
    assert not is_unavailable(error)  # so it ends a job as `internal`
    assert (as_unavailable(error) is not None) == is_wrong_type(error) == ("WRONGTYPE" in answer)


def test_an_answer_within_a_pipeline_counts_the_same(redis: Redis) -> None:
    redis.set("key", "value")
    with redis.pipeline() as pipeline, pytest.raises(exceptions.ResponseError, match="Command # 1") as caught:
        pipeline.hget("key", "field")
        pipeline.execute()
    assert not is_unavailable(caught.value)
    text = str(caught.value).replace("WRONGTYPE", "MISCONF")
    assert is_unavailable(exceptions.ResponseError(text))


def test_the_log_names_the_address_and_clients_do_not_see_it() -> None:
    error = exceptions.ConnectionError("Error 111 connecting to 10.0.0.7:6379. Connection refused.")
    assert str(as_unavailable(error)) == str(RedisAwayError())
    assert explain(error) == f"{RedisAwayError()} ({error})"
