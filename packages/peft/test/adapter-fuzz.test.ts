import { fuzzAdapterFiles } from './adapter-fuzz.js';

fuzzAdapterFiles(0, 200);
