"""aiocoap as a client.

python client.py get|put URI [PAYLOAD] [--non]       prints `CODE PAYLOAD`; a PAYLOAD `@FILE` is the content of a file
python client.py observe URI N                       prints `CODE PAYLOAD` for each of N notifications, cancels, prints
                                                     `over`, and runs until killed
python client.py collect URI SECONDS INTERFACE       prints `ADDRESS CODE PAYLOAD` for each answer that aiocoap delivers,
                                                     then `answers N`
Exit status 1 when there is no answer. aiocoap delivers only the first answer to a group request.
"""

import asyncio
import os
import sys

os.environ["AIOCOAP_CLIENT_TRANSPORT"] = "udp6"

import aiocoap  # noqa: E402


def shown(response):
    return f"{response.code.dotted} {response.payload.decode(errors='replace')}"


async def ask(method, uri, payload, non):
    context = await aiocoap.Context.create_client_context()
    tuning = aiocoap.Unreliable if non else aiocoap.Reliable
    code = {"get": aiocoap.GET, "put": aiocoap.PUT}[method]
    request = aiocoap.Message(code=code, uri=uri, payload=payload, transport_tuning=tuning)
    response = await asyncio.wait_for(context.request(request).response, 10)
    print(shown(response))
    await context.shutdown()
    return 1


async def observe(uri, wanted):
    context = await aiocoap.Context.create_client_context()
    exchange = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
    print(shown(await exchange.response), flush=True)
    seen = 1
    async for response in exchange.observation:
        print(shown(response), flush=True)
        seen += 1
        if seen == wanted:
            break
    exchange.observation.cancel()
    print("over", flush=True)
    await asyncio.get_running_loop().create_future()


async def collect(uri, seconds):
    context = await aiocoap.Context.create_client_context()
    request = aiocoap.Message(code=aiocoap.GET, uri=uri, transport_tuning=aiocoap.Unreliable)
    answers = 0

    async def count():
        nonlocal answers
        exchange = context.request(request, handle_blockwise=False)
        response = await exchange.response
        print(response.remote.hostinfo, shown(response), flush=True)
        answers += 1

    try:
        await asyncio.wait_for(count(), seconds)
    except (asyncio.TimeoutError, aiocoap.error.Error) as error:
        print(type(error).__name__, error, file=sys.stderr)
    print("answers", answers)
    await context.shutdown()
    return answers


def main(arguments):
    non = "--non" in arguments
    method, uri, *rest = [a for a in arguments if a != "--non"]
    if method == "collect":
        seconds, interface = float(rest[0]), rest[1]
        # The scope of a link-local group is part of the address.
        if "%" not in uri and "[ff02" in uri:
            uri = uri.replace("]", f"%{interface}]", 1)
        return collect(uri, seconds)
    if method == "observe":
        return observe(uri, int(rest[0]))
    payload = rest[0].encode() if rest else b""
    if payload.startswith(b"@"):
        with open(payload[1:], "rb") as file:
            payload = file.read()
    return ask(method, uri, payload, non)


sys.exit(0 if asyncio.run(main(sys.argv[1:])) else 1)
