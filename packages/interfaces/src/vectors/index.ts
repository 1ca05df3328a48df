/** What is done with vectors of texts, whoever embedded them. */
export { kMeans } from './k-means.js';
