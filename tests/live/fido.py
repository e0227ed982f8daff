"""A client that others wrote: fido2's own types and encoders, against the portal's endpoints.

usage: fido.py CA PORTAL NAME PASSWORD CODE
"""

import hashlib
import http.cookiejar
import json
import socket
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

ca, portal, name, password, code = sys.argv[1:]
host = urllib.parse.urlsplit(portal).hostname
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda _, *rest, **more: resolve("127.0.0.1", *rest, **more)
jar = http.cookiejar.CookieJar()
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)),
    urllib.request.HTTPCookieProcessor(jar),
)


def post(path, kind, body):
    headers = {"content-type": kind, "origin": portal, "sec-fetch-site": "same-origin"}
    request = urllib.request.Request(portal + path, body.encode(), headers)
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.url
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.url


def ask(path, **body):
    status, text, _ = post(path, "application/json", json.dumps(body))
    return status, json.loads(text)


def good(answer):
    status, body = answer
    assert status == 200, (status, body)
    return body


API = "/.portcullis/api/v1/login"
private = ec.generate_private_key(ec.SECP256R1())
key_id = hashlib.sha256(b"fido2").digest()
rp_hash = hashlib.sha256(host.encode()).digest()

half = good(ask(API, username=name, password=password))
good(ask(API + "/totp", ticket=half["ticket"], code=code))

options = good(ask("/account/factors/start", kind="key"))["publicKey"]
assert options["rp"]["id"] == host, options
client = CollectedClientData.create("webauthn.create", websafe_decode(options["challenge"]), portal)
attested = AttestedCredentialData.create(b"\0" * 16, key_id, ES256.from_cryptography_key(private.public_key()))
data = AuthenticatorData.create(rp_hash, AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.AT, 1, attested)
made = {
    "id": websafe_encode(key_id),
    "rawId": websafe_encode(key_id),
    "type": "public-key",
    "response": {
        "clientDataJSON": websafe_encode(client),
        "attestationObject": websafe_encode(AttestationObject.create("none", data, {})),
    },
    "clientExtensionResults": {},
}
form = urllib.parse.urlencode({"kind": "key", "name": "fido2", "credential": json.dumps(made)})
status, text, url = post("/account/factors/add", "application/x-www-form-urlencoded", form)
assert status == 200 and url.endswith("done=added"), (status, url, text[-800:])

jar.clear()
half = good(ask(API, username=name, password=password))
assert "webauthn" in half["methods"], half
options = good(ask(API + "/webauthn/start", ticket=half["ticket"]))["publicKey"]
assert [it["id"] for it in options["allowCredentials"]] == [websafe_encode(key_id)], options
client = CollectedClientData.create("webauthn.get", websafe_decode(options["challenge"]), portal)
data = AuthenticatorData.create(rp_hash, AuthenticatorData.FLAG.UP, 2)
answer = {
    "id": websafe_encode(key_id),
    "rawId": websafe_encode(key_id),
    "type": "public-key",
    "response": {
        "clientDataJSON": websafe_encode(client),
        "authenticatorData": websafe_encode(data),
        "signature": websafe_encode(private.sign(data + client.hash, ec.ECDSA(hashes.SHA256()))),
    },
    "clientExtensionResults": {},
}
done = good(ask(API + "/webauthn/finish", ticket=half["ticket"], credential=answer))
assert done["state"] == "authenticated" and done["level"] == 3, done
print("signed in:", *done["amr"])
jar.clear()
print("replayed:", ask(API + "/webauthn/finish", ticket=half["ticket"], credential=answer)[0])
