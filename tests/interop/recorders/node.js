// SPDX-License-Identifier: Apache-2.0
// Usage: node node.js PORT LOG. Answers each request with 200 and appends how Node understood it to LOG, one line of JSON.
'use strict';
const fs = require('fs');
const http = require('http');

const [port, path] = process.argv.slice(2);
const log = fs.openSync(path, 'a');
const record = (entry) => fs.writeSync(log, JSON.stringify(entry) + '\n');

const server = http.createServer({maxHeaderSize: 256 * 1024}, (request, response) => {
  let length = 0;
  request.on('data', (piece) => { length += piece.length; });
  request.on('end', () => {
    record({method: request.method, target: request.url, host: request.headers.host, body_bytes: length,
            peer: `${request.socket.remoteAddress}:${request.socket.remotePort}`});
    response.end();
  });
});
server.on('checkContinue', (request, response) => {
  response.writeContinue();
  server.emit('request', request, response);
});
server.on('clientError', (error, socket) => {
  record({method: error.code, target: '', host: '', body_bytes: -1, peer: ''});
  socket.destroy();
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), '0.0.0.0', () => console.log('ready'));
