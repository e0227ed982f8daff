"""python-socketio, a client that others wrote, against the packet tenant through the gateway.

usage: sio.py WHAT JSON

WHAT is `packets` (every kind of packet; prints what was seen as JSON) or `ends` (connects and tells of everything that
happens, a line of JSON each, until its standard input ends).
"""

import hashlib
import json
import socket
import sys
import threading
import time

import requests
import socketio
from engineio.payload import Payload

what, given = sys.argv[1], json.loads(sys.argv[2])
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda _, *rest, **more: resolve("127.0.0.1", *rest, **more)
# Its own limit is 16 packets in one answer; the official server sends as many as it has.
Payload.max_decode_packets = 1_000_000

telling = threading.Lock()
session = requests.Session()
session.trust_env = False  # what the machine trusts is not asked
session.verify = given["ca"]
session.headers["Sec-Fetch-Site"] = "same-origin"
for cookie in given["cookies"].split("; "):
    # (As the gateway sets it: a renewed one takes its place.)
    session.cookies.set(*cookie.split("=", 1), domain=given["host"], path="/", secure=True)
client = socketio.Client(http_session=session, reconnection_delay=0.2, reconnection_delay_max=0.5, randomization_factor=0)

# It gives every message to a thread of its own, where one may overtake another, or its own attachments; here order counts.
trigger = client.eio._trigger_event
client.eio._trigger_event = lambda *args, run_async=False, **more: trigger(*args, run_async=False, **more)


def connect(*namespaces):
    client.connect(
        given["url"],
        transports=given["transports"],
        auth={"stream": given["stream"]},
        namespaces=list(namespaces),
        wait_timeout=15,
    )


def tell(**news):
    with telling:
        print(json.dumps(news), flush=True)


def ends():
    attempts = 0

    @client.on("connect")
    def connected():
        tell(event="connect")

    @client.on("disconnect")
    def disconnected(reason):
        tell(event="disconnect", reason=reason)

    @client.on("uiBuilderControl")
    def control(message):
        tell(event="control", topic=message["uibuilderCtrl"], reason=message.get("reason"))

    @client.on("connect_error")
    def refused(why):
        tell(event="connect_error", why=str(why))

    connect("/")
    for line in sys.stdin:
        if line.strip() == "flood":
            for n in range(given["flood"]):
                try:
                    client.emit("flood", n)
                except socketio.exceptions.SocketIOError:
                    break
    client.reconnection = False
    client.shutdown()


def packets():
    heard = {}
    news = threading.Condition()

    def keep(name, namespace):
        def heard_one(*args):
            with news:
                heard.setdefault((namespace, name), []).append(args)
                news.notify_all()

        client.on(name, heard_one, namespace=namespace)

    def wait(namespace, name, count):
        end = time.monotonic() + 60
        with news:
            while len(heard.get((namespace, name), [])) < count:
                assert news.wait(end - time.monotonic()), f"{name}: {len(heard.get((namespace, name), []))} of {count}"
            return heard.pop((namespace, name))

    def call(event, *args, namespace="/"):
        return client.call(event, args if len(args) != 1 else args[0], namespace=namespace, timeout=30)

    for namespace in ("/", "/app"):
        for name in ("echoed", "said", "down"):
            keep(name, namespace)
    connect("/", "/app")
    seen = {}
    if given.get("upgrades"):
        end = time.monotonic() + 15
        while client.transport() != "websocket" and time.monotonic() < end:
            time.sleep(0.02)
    seen["transport"] = client.transport()
    words = {"text": "grün 🦊 \u2028 \"\\", "list": [1, 2.5, None, True, {"deep": [[]]}], "empty": ""}
    client.emit("echo", words)
    seen["echo"] = wait("/", "echoed", 1) == [(words,)]
    seen["ack"] = call("echo", words) == words
    first, second = bytes(range(256)) * 40, b""
    client.emit("echo", ({"a": first, "b": {"c": [second, "text"]}}, "after"))
    seen["binary"] = wait("/", "echoed", 1) == [({"a": first, "b": {"c": [second, "text"]}}, "after")]
    seen["binary ack"] = call("echo", first) == first
    seen["namespaces"] = [call("who", namespace=it)["namespace"] for it in ("/", "/app")]
    seen["user"] = call("who")["user"]
    room = given["stream"]
    assert call("join", room, namespace="/app") == "joined"
    client.emit("say", (room, "to the room"), namespace="/app")
    seen["room"] = wait("/app", "said", 1) == [("to the room",)] and ("/", "said") not in heard
    large = given["large"]
    text = "large " * (large // 6)  # (it writes every other letter as six)
    seen["large text"] = call("echo", text) == text
    if given["large_binary"]:
        block = bytes(n * 7 % 256 for n in range(1000)) * (given["large_binary"] // 1000)
        seen["large binary"] = call("echo", block) == block
    count, up = given["count"], hashlib.sha256()
    for n in range(1, count + 1):
        message = b"bytes %d \x00\xff" % n if n % 100 == 0 else f"message {n} – grün 🦊 \"\\"
        up.update(message if isinstance(message, bytes) else message.encode())
        client.emit("up", message)
    end = time.monotonic() + 60
    while (total := call("sum"))["count"] < count and time.monotonic() < end:
        time.sleep(0.02)
    seen["up"] = total["count"] == count and total["up"] == up.hexdigest()
    said = []
    client.emit("down", count, callback=said.append)
    down = hashlib.sha256()
    for (message,) in wait("/", "down", count):
        down.update(message if isinstance(message, bytes) else message.encode())
    end = time.monotonic() + 30
    while not said and time.monotonic() < end:
        time.sleep(0.02)
    seen["down"] = said == [down.hexdigest()]
    client.disconnect()
    tell(**seen)


{"packets": packets, "ends": ends}[what]()
