// node-coap as a client.
//
// node client.js get|put URI [PAYLOAD] [--non]      prints `CODE PAYLOAD`; a PAYLOAD `@FILE` is the content of a file
// node client.js observe URI N                      prints `CODE PAYLOAD` for each of N notifications, deregisters, prints
//                                                   `over`, and runs until killed
// node client.js collect URI SECONDS INTERFACE      prints `ADDRESS CODE PAYLOAD` for each answer, then `answers N`
// Exit status 1 when there is no answer.
'use strict'
const coap = require('coap')
const dgram = require('dgram')
const fs = require('fs')
const os = require('os')

const words = process.argv.slice(2)
const non = words.includes('--non')
const [method, uri, first, name] = words.filter((word) => word !== '--non')
const url = new URL(uri)
const collects = method === 'collect'
const observes = method === 'observe'
const payload = first?.startsWith('@') ? fs.readFileSync(first.slice(1)) : first
const host = url.hostname.replace(/^\[|\]$/g, '')
const v6 = host.includes(':')

const options = {
  hostname: host,
  port: Number(url.port || 5683),
  pathname: url.pathname,
  query: url.search.slice(1),
  method: collects || observes ? 'GET' : method.toUpperCase(),
  confirmable: !collects && !non
}

if (observes) {
  // A socket of its own: node-coap closes one that it has made before it sends the deregistration, and fails on it.
  const socket = dgram.createSocket(v6 ? 'udp6' : 'udp4')
  const agent = new coap.Agent({ type: v6 ? 'udp6' : 'udp4', socket })
  const request = coap.request({ ...options, agent, observe: true })
  let seen = 0
  request.on('response', (response) => {
    response.on('data', (data) => {
      console.log(response.code, data.toString())
      seen += 1
      if (seen !== Number(first)) return
      response.close(true)
      console.log('over')
    })
  })
  request.on('error', (error) => {
    console.error(error.message)
    process.exit(1)
  })
  request.end()
  setInterval(() => {}, 60000)
} else if (!collects) {
  const request = coap.request(options)
  request.on('response', (response) => {
    console.log(response.code, response.payload.toString())
    process.exit(0)
  })
  request.on('error', (error) => {
    console.error(error.message)
    process.exit(1)
  })
  // node-coap sends blocks only where it is told to: block 0 of 1024 bytes.
  if (payload?.length > 1024) request.setOption('Block1', Buffer.from([6]))
  request.end(payload)
  setTimeout(() => process.exit(1), 10000)
} else {
  const agent = new coap.Agent({ type: v6 ? 'udp6' : 'udp4' })
  const ask = () => {
    const address = os.networkInterfaces()[name].find((a) => a.family === 'IPv4').address
    agent._sock.setMulticastInterface(v6 ? `::%${name}` : address)
    const milliseconds = Number(first) * 1000
    const request = coap.request({ ...options, agent, multicast: true, multicastTimeout: milliseconds })
    let answers = 0
    request.on('response', (response) => {
      answers += 1
      console.log(response.rsinfo.address, response.code, response.payload.toString())
    })
    request.on('error', (error) => console.error(error.message))
    request.end()
    setTimeout(() => {
      console.log('answers', answers)
      process.exit(answers > 0 ? 0 : 1)
    }, milliseconds)
  }
  // The interface can be chosen once the socket is bound.
  agent._sock.bind(0, ask)
}
