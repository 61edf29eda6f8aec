import { exitCodeOf } from './exit.js';
import { LAYERS, SEED } from './layers.js';
import { runBench } from './run.js';

const layers = [SEED, ...LAYERS];
const program = { name: 'npm run bench --', layers, layersAre: `all ${layers.length} of the list` };
process.exitCode = await exitCodeOf(() => runBench(process.argv.slice(2), program));
