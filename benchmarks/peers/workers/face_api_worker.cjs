/* Run the expression network of npm's `@vladmandic/face-api` on face crops; started by `measure.py` with the
 * folder of an npm project in which it is installed.
 *
 * Crops go through `faceExpressionNet.predictExpressions` as colour images of 48×48 pixels; the package
 * enlarges them to its 112×112. Backend: WebAssembly, one thread.
 */
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");

const folder = process.argv[2];
const load = createRequire(path.join(folder, "package.json"));
console.log = console.info = console.error; // messages of libraries must not mix with the answers
const tf = load("@tensorflow/tfjs");
const wasm = load("@tensorflow/tfjs-backend-wasm");
const faceapi = load("@vladmandic/face-api/dist/face-api.node-wasm.js");
const LABELS = ["neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"];

function read(length) {
  const buffer = Buffer.alloc(length);
  for (let start = 0; start < length; ) {
    const count = fs.readSync(0, buffer, start, length - start);
    if (!count) return null;
    start += count;
  }
  return buffer;
}

function readLine() {
  const bytes = [];
  for (let byte = read(1); byte; byte = read(1)) {
    if (byte[0] === 10) return Buffer.from(bytes).toString();
    bytes.push(byte[0]);
  }
  return null;
}

function write(buffer) {
  for (let start = 0; start < buffer.length; ) start += fs.writeSync(1, buffer, start);
}

async function main() {
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(path.join(folder, "node_modules/@tensorflow/tfjs-backend-wasm/dist/"));
  await tf.setBackend("wasm");
  await tf.ready();
  const packages = path.join(folder, "node_modules");
  await faceapi.nets.faceExpressionNet.loadFromDisk(path.join(packages, "@vladmandic/face-api/model"));
  const versions = { node: process.versions.node };
  for (const name of ["@vladmandic/face-api", "@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"])
    versions[name] = JSON.parse(fs.readFileSync(path.join(packages, name, "package.json"))).version;
  write(Buffer.from(JSON.stringify({ labels: LABELS, versions }) + "\n"));
  for (let line = readLine(); line; line = readLine()) {
    const [count, height, width] = JSON.parse(line);
    const pixels = read(count * height * width);
    const faces = [];
    for (let index = 0; index < count; index++) {
      const grey = pixels.subarray(index * height * width, (index + 1) * height * width);
      faces.push(tf.tidy(() => tf.tensor3d(new Int32Array(grey), [height, width, 1], "int32").tile([1, 1, 3])));
    }
    const found = await faceapi.nets.faceExpressionNet.predictExpressions(faces);
    tf.dispose(faces);
    write(Buffer.from(Float32Array.from(found.flatMap((one) => LABELS.map((name) => one[name]))).buffer));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
