// CommonJS.
import gemmconv = require('gemmconv');

const filter = { data: Float32Array.of(2), shape: [1, 1, 1, 1] };
const { data } = gemmconv.conv2dSync({ data: Float32Array.of(3), shape: [1, 1, 1, 1] }, filter);
console.log(`required: ${data[0]}`);
