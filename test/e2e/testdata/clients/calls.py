"""The grpcio client and server of the Calls service (see app/calls.go and app/callsclient.go).

calls.py serve                    serves on port 9090 as grpcio does without options
calls.py HOST [PORT] [SECONDS]    runs the cases and prints what became of them; with SECONDS only the quiet ones
"""

import json
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import duration_pb2

CALLS = "tulle.e2e.Calls"
EXPECTED = {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "INTERNAL"}
ENCODE, DECODE = duration_pb2.Duration.SerializeToString, duration_pb2.Duration.FromString


def duration(seconds):
    return duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def serve():
    def wait(d, context):
        time.sleep(d.seconds + d.nanos / 1e9)
        return d

    def hold(stream, context):
        for d in stream:
            yield wait(d, context)

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(CALLS, {
        "Wait": grpc.unary_unary_rpc_method_handler(wait, DECODE, ENCODE),
        "Hold": grpc.stream_stream_rpc_method_handler(hold, DECODE, ENCODE),
    }),))
    server.add_insecure_port("0.0.0.0:9090")
    server.start()
    server.wait_for_termination()


class Caller:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def on(self, port, do):
        """Calls do on a fresh connection and names the status that it ended with."""
        own_connection = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"{self.host}:{port}", options=own_connection) as channel:
            try:
                do(channel)
                return "OK"
            except grpc.RpcError as e:
                return e.code().name if e.code().name in EXPECTED else f"{e.code().name}: {e.details()}"

    def method(self, channel, path="/" + CALLS + "/Wait"):
        return channel.unary_unary(path, ENCODE, DECODE)

    def wait(self, seconds, timeout, port=None):
        return self.on(port or self.port, lambda channel: self.method(channel)(duration(seconds), timeout=timeout))

    def hold(self, timeout, *seconds):
        def do(channel):
            answered = threading.Semaphore(0)

            def requests():
                for s in seconds:
                    yield duration(s)
                    answered.acquire()

            for _ in channel.stream_stream("/" + CALLS + "/Hold", ENCODE, DECODE)(requests(), timeout=timeout):
                answered.release()
        return self.on(self.port, do)

    def cancelled(self):
        def do(channel):
            call = self.method(channel).future(duration(60))
            threading.Timer(1, call.cancel).start()
            try:
                call.result()
            except grpc.FutureCancelledError:
                raise Cancelled()
        try:
            return self.on(self.port, do)
        except Cancelled:
            return "CANCELLED"

    def reset(self, code):
        return self.on(9091, lambda channel: self.method(channel, f"/reset/{code}")(duration(0), timeout=10))

    def burst(self, port, n):
        def do(channel):
            calls = [self.method(channel).future(duration(0.005), timeout=60) for _ in range(n)]
            for call in calls:
                call.result()
        return self.on(port, do)


class Cancelled(Exception):
    pass


def main(host, port=9090, quiet=0):
    c = Caller(host, int(port))
    quiet = int(quiet)
    cases = {
        "slow unary call": lambda: c.wait(quiet, quiet + 60),
        "silent bidi stream": lambda: c.hold(quiet + 60, 0, quiet, 0),
    } if quiet else {
        "unary call": lambda: c.wait(0, 60),
        "bidi stream": lambda: c.hold(60, 0, 0, 0),
        "deadline of a unary call": lambda: c.wait(60, 1),
        "deadline of a silent stream": lambda: c.hold(1, 0, 60),
        "deadline before the server": lambda: c.wait(1, 0),
        "cancelled by the caller": c.cancelled,
        "burst, no limit of streams": lambda: c.burst(c.port, 200),
        "burst, limit of 100 streams": lambda: c.burst(8500, 200),
        "burst, limit of two streams": lambda: c.burst(8402, 50),
        "burst, limit of one stream": lambda: c.burst(8401, 50),
        **{f"reset with {code}": (lambda code=code: c.reset(code)) for code in range(14)},
    }
    with futures.ThreadPoolExecutor(max_workers=len(cases)) as pool:
        running = {name: pool.submit(case) for name, case in cases.items()}
        print(json.dumps({name: result.result() for name, result in running.items()}))


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else main(*sys.argv[1:])
