/** Factor of every time-out of the tests, for machines that are emulated: GEMMCONV_TEST_PATIENCE=50. */
export const PATIENCE = Number(process.env.GEMMCONV_TEST_PATIENCE ?? 1);
