// SPDX-License-Identifier: MIT
#include "check.h"

int main() {
  gemmconv::test::Suite suite;
  gemmconv::test::pack_tests(suite);
  gemmconv::test::gemm_tests(suite);
  gemmconv::test::conv2d_tests(suite);
  gemmconv::test::plan_tests(suite);
  gemmconv::test::threads_tests(suite);
  gemmconv::test::winograd_tests(suite);
  return suite.failed() == 0 ? 0 : 1;
}
